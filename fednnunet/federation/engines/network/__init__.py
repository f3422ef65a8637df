"""The engine of a real federation: a coordinator and sites on machines of their own."""
