"""The whole token in integers: each kernel's number formats, exact definition and error bound; NumPy alone."""
