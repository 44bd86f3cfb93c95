"""What runs inside the sandbox. Standard library only; nothing here may import the trusted side."""
