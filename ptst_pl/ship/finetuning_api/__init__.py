"""Fine-tuning on a server with OpenAI's fine-tuning routes: the paper's GPT-3.5 rows.

OpenAI is closing this service: by press reports of 2026, organisations that never used it can create no more
jobs, nor can those that were idle for 60 days, and nobody after 6 January 2027. Models that were fine-tuned
before answer until their base model retires. Whether ``gpt-3.5-turbo-0613`` is still taken was not tried. So
nothing here is tied to OpenAI's own address: any server with ``/files`` and ``/fine_tuning/jobs`` will do.
"""
