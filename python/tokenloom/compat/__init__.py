"""Drop-in faces of other libraries; the only package here that imports them."""
