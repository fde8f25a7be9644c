"""Plug tokenloom into PyTorch decoders; the only package here that imports torch."""
