"""The coordinator's side: rounds, participation, history. It knows no engine and no case."""
