"""What an edit is, apart from the model it was made on: a delta, a LoRA adapter, or a whole checkpoint."""
