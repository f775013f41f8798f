"""Speaks to `landfall mcp` with the Model Context Protocol's own client library.

    mcp_client.py PROGRAM... < [{"tool": …, "arguments": {…}}, …]

Prints what the server says of itself and what each call came to, as JSON.
"""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    calls = json.load(sys.stdin)
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])
    async with stdio_client(server) as (incoming, outgoing), ClientSession(incoming, outgoing) as session:
        about = await session.initialize()
        tools = await session.list_tools()
        results = []
        for call in calls:
            try:
                result = await session.call_tool(call["tool"], call["arguments"])
                results.append(result.model_dump(mode="json", by_alias=True, exclude_none=True))
            except Exception as error:  # what the library makes of an error of the protocol
                results.append({"error": str(error)})
    told = {
        "about": about.model_dump(mode="json", by_alias=True, exclude_none=True),
        "tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools.tools],
        "results": results,
    }
    json.dump(told, sys.stdout)


asyncio.run(asyncio.wait_for(main(), 120))
