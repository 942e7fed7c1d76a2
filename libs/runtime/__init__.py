"""The shell around aiohttp, asyncpg, redis and aio-pika. It decides nothing about the product."""
