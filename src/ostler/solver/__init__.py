"""The exact solver in a process of its own: started with a time limit, killed when it is over, never needed."""
