"""What a run came to: its report and its plots, and the runs of a folder side by side."""
