"""A CV as a user names it, and whether it is of this system."""
