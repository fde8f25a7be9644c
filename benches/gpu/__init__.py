"""GPU benches: how far from reading the logits once?"""
