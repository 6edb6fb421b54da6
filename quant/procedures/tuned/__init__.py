"""All linears at once, from the loss of the language model itself; where a rotation of its weights pays before that."""
