"""The page that tells the story of a run: figures, template and style."""
