-- SPDX-License-Identifier: MIT
-- SPDX-FileCopyrightText: The rlockd authors
--
-- queue: those who wait for a key on other hosts. Not a script of its own: lock and unlock begin with it.
--
-- KEYS[1]  the lock
-- KEYS[3]  its queue: the value that each waiting host would lock with, by the time since when it waits.
--          There is one entry per host, however many of its clients wait. The queue ends with its last
--          entry, or by its expiry where hosts have died.
--
-- The last 36 characters of a daemon's value name its instance, which listens on a channel of its own.
-- What is sent there is a hint: nothing is wrong when it gets lost, only slower.

-- Tells the daemon whose value that is a word about this key; false if it is not there to hear it. A value
-- of another program's has no daemon. Who may not publish cannot know, and counts it as heard: it will ask.
local function tell(value, word)
    if #value ~= 73 or string.sub(value, 37, 37) ~= '/' then
        return false
    end
    local heard = redis.pcall('PUBLISH', 'rlockd:' .. string.sub(value, 38), word .. ' ' .. KEYS[1])
    return type(heard) ~= 'number' or heard > 0
end

-- The key is free: offers it to whoever has waited longest, by setting it to that value for a moment, in
-- which that host makes it its own. Hosts that are known not to listen lose their place. Returns the value
-- at the head of the queue, `own` without having offered anything; nil if nobody waits, or if
-- what lies there is no queue of ours.
local function pass_on(own, claim_ms)
    while true do
        local head = redis.pcall('ZRANGE', KEYS[3], 0, 0)[1]
        if not head or head == own then
            return head
        end
        redis.call('ZREM', KEYS[3], head)
        if tell(head, 'offer') then
            redis.call('SET', KEYS[1], head, 'PX', claim_ms)
            return head
        end
    end
end
