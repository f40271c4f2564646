"""What is on the leaderboard site, a folder of pages: `harness site`?"""
