"""The story of a run as plain values: what pictures and page are drawn from, and what they share."""
