"""The record store: proof of every choice. Imported on first use."""
