"""Learn, store, compose and measure small modules on one frozen encoder."""
