"""Speed and its proof: peers in their own processes, answers compared before anything is timed."""
