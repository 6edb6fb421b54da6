def quantized_inputs(*a):
    return None, None
