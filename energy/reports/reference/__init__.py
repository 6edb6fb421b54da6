"""The generated reference: public names with signatures and first sentences, and the fields of every document."""
