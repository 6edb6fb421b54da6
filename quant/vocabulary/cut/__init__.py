"""A vocabulary cut to fewer entries: which are kept, the tokenizer and the model without the others, and healing."""
