-- SPDX-License-Identifier: MIT
-- SPDX-FileCopyrightText: The rlockd authors
--
-- refresh: lengthens the expiry of a key that is ours. It never creates a key and never shortens its
-- life.
--
-- KEYS[1]  the lock
-- KEYS[2]  the counter of fences, "rlockd:fence", whatever lease.prefix is
-- KEYS[3]  the queue, see queue.lua
-- ARGV[1]  our value
-- ARGV[2]  ttl_ms
-- ARGV[3]  how many fences to reserve, 0 for none
--
-- Returns  {1, first fence of the block, or 0, hosts that queue}  it is ours, and renewed
--          {0, 0, 0}                                              it is another's
--          {-1, 0, 0}                                             there is no such key
--
-- It must be one script because the key may expire and become another's between the comparison and
-- the expiry's setting. The renewal comes first: where the counter cannot be read or written (it is
-- no number, memory is full), the lease lives on, and only the fences are missing.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
    -- A write that changes nothing: a replica refuses it, so that this answer is a master's.
    redis.call('PERSIST', KEYS[2])
end
if holder ~= ARGV[1] then
    return {holder and 0 or -1, 0, 0}
end

local count, n_queued = tonumber(ARGV[3]), redis.pcall('ZCARD', KEYS[3])
if type(n_queued) ~= 'number' then
    n_queued = 0 -- no queue of ours: no reason to lose a lease
end
if count == 0 then
    return {1, 0, n_queued}
end
-- As in lock: 1/8192 ms since 2020, or the counter where that is further. An error is a table.
local stored = redis.pcall('GET', KEYS[2]) or '0'
local counter = type(stored) == 'string' and tonumber(stored)
local time = redis.call('TIME')
local since_2020 = (tonumber(time[1]) - 1577836800) * 8192000 + math.floor(tonumber(time[2]) * 8.192)
local first = math.max(counter or 0, since_2020, 1)
if not (counter and counter >= 0 and counter % 1 == 0 and first + count < 2 ^ 53) then
    return {1, 0, n_queued}
end
local written = redis.pcall('SET', KEYS[2], string.format('%.0f', first + count))
return {1, written.ok and first or 0, n_queued}
