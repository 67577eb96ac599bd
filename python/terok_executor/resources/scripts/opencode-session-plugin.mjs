// OpenCode plugin: notes the id of a new session where the next run of this task finds it.
// A note that cannot be taken must not disturb the session, so failures are dropped.
import { writeFile } from "node:fs/promises"

export const TerokSession = async () => ({
  event: async ({ event }) => {
    const file = process.env.TEROK_SESSION_FILE
    const id = event?.type === "session.created" ? event.properties?.info?.id : undefined
    if (!file || !id) return
    await writeFile(file, `${id}\n`).catch(() => {})
  },
})
