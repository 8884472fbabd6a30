"""Fine-tune chat models under any prompt template and watch their safety while they train."""

__version__ = "0.1.0"
