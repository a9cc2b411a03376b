"""A model and its tokenizer: load, ask, look inside, change and put back bitwise. Knows no method and no task."""
