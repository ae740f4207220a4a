"""A customer with a Matrix client of somebody else's making: matrix-nio, driven by lines of JSON.

In: {"id": 1, "do": NAME, ...}. Out: {"answer": 1, "ok": {...}} or {"answer": 1, "error": "..."}, and whatever the
homeserver tells, as {"saw": "timeline" | "ephemeral" | "invite", "room": ROOM, "event": {...}}. Ends with its input.
"""

import asyncio
import base64
import json
import sys

from nio import AsyncClient, AsyncClientConfig, Event, InviteEvent, ReceiptEvent, TypingNoticeEvent
from nio.responses import ErrorResponse, SyncResponse

# A room's news of one sync. More come as a gap, which nobody fills here.
FILTER = {"room": {"timeline": {"limit": 1000}}, "presence": {"types": []}}


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def checked(response):
    if isinstance(response, ErrorResponse):
        raise RuntimeError(str(response))
    return response


class Customer:
    def __init__(self, url, user, token):
        # A server that is away is asked again every second.
        config = AsyncClientConfig(max_timeout_retry_wait_time=1, request_timeout=60)
        self.client = AsyncClient(url, user, device_id="TEST", config=config)
        self.client.user_id = user
        self.client.access_token = token
        self.client.add_event_callback(self.on_event, Event)
        self.client.add_event_callback(self.on_invite, InviteEvent)
        self.client.add_ephemeral_callback(self.on_typing, TypingNoticeEvent)
        self.client.add_ephemeral_callback(self.on_receipt, ReceiptEvent)
        self.client.add_response_callback(self.on_sync, SyncResponse)
        self.synced = asyncio.Event()

    async def on_sync(self, _response):
        self.synced.set()

    async def on_event(self, room, event):
        say({"saw": "timeline", "room": room.room_id, "event": event.source})

    async def on_invite(self, room, event):
        say({"saw": "invite", "room": room.room_id, "event": event.source})

    async def on_typing(self, room, event):
        say({"saw": "ephemeral", "room": room.room_id, "event": {"type": "m.typing", "users": event.users}})

    async def on_receipt(self, room, event):
        for receipt in event.receipts:
            told = {"type": "m.receipt", "kind": receipt.receipt_type, "event_id": receipt.event_id}
            say({"saw": "ephemeral", "room": room.room_id, "event": {**told, "user": receipt.user_id}})

    async def run(self):
        syncing = asyncio.create_task(self.client.sync_forever(timeout=20000, sync_filter=FILTER))
        await self.synced.wait()
        say({"saw": "ready"})
        reader = asyncio.StreamReader(limit=1 << 26)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            await self.obey(json.loads(line))
        syncing.cancel()
        await self.client.close()

    async def obey(self, order):
        try:
            done = await getattr(self, "do_" + order["do"])(order)
            say({"answer": order["id"], "ok": done or {}})
        except Exception as error:  # the test decides what it means
            say({"answer": order["id"], "error": f"{type(error).__name__}: {error}"})

    async def do_create(self, order):
        state = order.get("initial_state", [])
        made = await self.client.room_create(
            is_direct=order.get("direct", True), invite=order["invite"], name=order.get("name"), initial_state=state
        )
        return {"room": checked(made).room_id}

    async def do_join(self, order):
        checked(await self.client.join(order["room"]))

    async def do_leave(self, order):
        checked(await self.client.room_leave(order["room"]))

    async def do_invite(self, order):
        checked(await self.client.room_invite(order["room"], order["user"]))

    async def do_send(self, order):
        sent = await self.client.room_send(order["room"], order.get("type", "m.room.message"), order["content"])
        return {"event": checked(sent).event_id}

    async def do_state(self, order):
        key = order.get("key", "")
        sent = await self.client.room_put_state(order["room"], order["type"], order["content"], key)
        return {"event": checked(sent).event_id}

    async def do_redact(self, order):
        redacted = await self.client.room_redact(order["room"], order["event"], order.get("reason"))
        return {"event": checked(redacted).event_id}

    async def do_typing(self, order):
        checked(await self.client.room_typing(order["room"], order["on"], timeout=30000))

    async def do_read(self, order):
        checked(await self.client.update_receipt_marker(order["room"], order["event"]))

    async def do_upload(self, order):
        data = base64.b64decode(order["base64"])

        def provider(_monitor, _retries):
            return data

        sent, _ = await self.client.upload(
            provider, content_type=order["mimetype"], filename=order["filename"], filesize=len(data)
        )
        return {"mxc": checked(sent).content_uri}

    async def do_download(self, order):
        got = checked(await self.client.download(mxc=order["mxc"]))
        kind = {"mimetype": got.content_type, "filename": got.filename}
        return {"base64": base64.b64encode(got.body).decode(), **kind}

    async def do_name(self, order):
        checked(await self.client.set_displayname(order["name"]))

    async def do_avatar(self, order):
        checked(await self.client.set_avatar(order["mxc"]))

    async def do_profile(self, order):
        profile = checked(await self.client.get_profile(order["user"]))
        return {"name": profile.displayname, "avatar": profile.avatar_url}


if __name__ == "__main__":
    asyncio.run(Customer(*sys.argv[1:]).run())
