"""Loggers of a run, one a file: none, csv, TensorBoard, W&B, MLflow."""
