"""What trains of a student beside its blocks, embedding and head, and whether what training made is kept."""
