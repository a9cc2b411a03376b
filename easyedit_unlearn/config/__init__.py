"""What a run is told: EasyEdit's hparams with their ``unlearn:`` block, and the engine that they name, once."""
