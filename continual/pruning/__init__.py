"""Which members of a learned composition may leave it, one file a rule."""
