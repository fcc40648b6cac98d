"""Where segments run: in this process or in others."""
