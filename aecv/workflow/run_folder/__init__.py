"""What lies on disk of a run: stages, manifests, records, samples."""
