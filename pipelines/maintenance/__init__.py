"""Commands that maintain a lake: compact, replay, undo, reconcile and trace."""
