"""What crosses a site's wall: messages, named tensors and their arithmetic, phases."""
