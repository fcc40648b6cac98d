"""Floor 2: what a molecule is, without OpenMM and without torch: description, files, observables, stereochemistry."""
