"""What both libraries, with and without asyncio, are made of.

It is written once, as coroutines over a Runtime. With asyncio's they are awaited.
With that of threads every await comes back at once, because whatever has to be waited
for has blocked the thread until then.
"""
