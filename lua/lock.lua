-- SPDX-License-Identifier: MIT
-- SPDX-FileCopyrightText: The rlockd authors
--
-- lock: takes the key if nobody has it, and recognises it if it is ours already, so that an attempt
-- whose answer got lost can simply be made again.
--
-- KEYS[1]  the lock: a plain string, the same that SET key value NX PX would make
-- KEYS[2]  the counter of fences, "rlockd:fence". Its name does not depend on lease.prefix, so that the
--          fences of a key grow whatever way daemons put its name together
-- ARGV[1]  our value
-- ARGV[2]  ttl_ms
-- ARGV[3]  how many fences to reserve, at least 1
--
-- Returns  {1, first fence of the block}                    it is ours
--          {0, ms that it will be another's, -1: for ever}  it is not
--
-- It must be one script because nothing may come between looking at the key and setting it, and no
-- other may reserve the same fences. Whatever can fail comes before the first write, and the counter
-- is written before the key: no fence is given twice, and no lock exists without one.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    -- A write that changes nothing: a replica refuses it, so that this answer is a master's.
    redis.call('PERSIST', KEYS[2])
    return {0, redis.call('PTTL', KEYS[1])}
end

-- A fence is 1/8192 ms since 2020, so it grows even if Redis lost the counter a moment ago (hence the
-- microseconds); exact below 2^53.
local ttl_ms, count = tonumber(ARGV[2]), tonumber(ARGV[3])
local counter = tonumber(redis.call('GET', KEYS[2]) or '0')
local time = redis.call('TIME')
local since_2020 = (tonumber(time[1]) - 1577836800) * 8192000 + math.floor(tonumber(time[2]) * 8.192)
local first = math.max(counter or 0, since_2020, 1)
if not (counter and counter >= 0 and counter % 1 == 0 and first + count < 2 ^ 53) then
    return redis.error_reply('ERR the counter of fences is not usable')
end

redis.call('SET', KEYS[2], string.format('%.0f', first + count))
if not holder then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
elseif redis.call('PTTL', KEYS[1]) < ttl_ms then
    -- Only ever longer: this may be a late command of an earlier attempt.
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {1, first}
