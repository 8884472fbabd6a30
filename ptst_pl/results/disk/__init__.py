"""Files that survive a kill and a power cut: durable names, whole checkpoints, and which one is the last."""
