"""A molecule of a user's own: guessed, proposed, written, checked."""
