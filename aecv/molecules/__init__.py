"""Floor 2: what a molecule is, without OpenMM or torch: description, files, observables, stereochemistry."""
