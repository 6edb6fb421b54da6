"""Cycle simulator: traces of whole tokens replayed on an array, its buffers and its memory."""
