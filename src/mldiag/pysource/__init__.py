"""What a Python file says about a training program, from its syntax tree; nothing of it is ever run."""
