-- SPDX-License-Identifier: MIT
-- SPDX-FileCopyrightText: The rlockd authors
--
-- lock: takes the key if nobody has it and nobody has waited longer; recognises it if it is ours already,
-- so that an attempt whose answer got lost can simply be made again, and an offer be taken up. Otherwise
-- it queues, and lets the holder know.
--
-- KEYS[1]  the lock: a plain string, the same that SET key value NX PX would make
-- KEYS[2]  the counter of fences, "rlockd:fence". Its name does not depend on lease.prefix, so that the
--          fences of a key grow whatever way daemons put its name together
-- KEYS[3]  the queue, see queue.lua
-- ARGV[1]  our value
-- ARGV[2]  ttl_ms
-- ARGV[3]  how many fences to reserve, at least 1
-- ARGV[4]  1: queue if it is another's; 0: do not
-- ARGV[5]  for how many ms it is offered to who has waited longer
--
-- Returns  {1, first fence of the block, hosts that queue}     it is ours now
--          {2, first fence of the block, hosts that queue}     it was ours already
--          {0, ms that it will be another's, -1: for ever, 0}  it is not
--
-- It must be one script because nothing may come between looking at the key and setting it, and no
-- other may reserve the same fences. Whatever can fail comes before the first write for us, and the
-- counter is written before the key: no fence is given twice, and no lock exists without one.
local holder, head = redis.call('GET', KEYS[1]), nil
local is_found = holder == ARGV[1]
if not holder then
    head = pass_on(ARGV[1], ARGV[5])
    holder = head or ARGV[1]
end
local time = redis.call('TIME')

if holder ~= ARGV[1] then
    local remaining_ms = redis.call('PTTL', KEYS[1])
    if ARGV[4] == '1' then
        -- By the time, but behind all who wait, also where Redis's clock was set back meanwhile.
        local last = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]
        local since = math.max(time[1] * 1000000 + time[2], (tonumber(last) or 0) + 1)
        redis.call('ZADD', KEYS[3], 'NX', string.format('%.0f', since), ARGV[1])
        local stay_ms = math.max(remaining_ms, 0) + tonumber(ARGV[2])
        if redis.call('PTTL', KEYS[3]) < stay_ms then
            redis.call('PEXPIRE', KEYS[3], string.format('%.0f', stay_ms))
        end
        if string.sub(holder, 38) ~= string.sub(ARGV[1], 38) then -- not what this daemon let run out itself
            tell(holder, 'recall')
        end
    else
        -- A write that changes nothing: a replica refuses it, so that this answer is a master's.
        redis.call('PERSIST', KEYS[2])
    end
    return {0, remaining_ms, 0}
end

-- A fence is 1/8192 ms since 2020, so it grows even if Redis lost the counter a moment ago (hence the
-- microseconds); exact below 2^53.
local ttl_ms, count = tonumber(ARGV[2]), tonumber(ARGV[3])
local counter = tonumber(redis.call('GET', KEYS[2]) or '0')
local since_2020 = (tonumber(time[1]) - 1577836800) * 8192000 + math.floor(tonumber(time[2]) * 8.192)
local first = math.max(counter or 0, since_2020, 1)
if not (counter and counter >= 0 and counter % 1 == 0 and first + count < 2 ^ 53) then
    return redis.error_reply('ERR the counter of fences is not usable')
end

redis.call('SET', KEYS[2], string.format('%.0f', first + count))
if not is_found then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
elseif redis.call('PTTL', KEYS[1]) < ttl_ms then
    -- Only ever longer: this may be a late command of an earlier attempt.
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if head then
    redis.call('ZREM', KEYS[3], head)
end
local n_queued = (is_found or head) and redis.call('ZCARD', KEYS[3]) or 0
return {is_found and 2 or 1, first, n_queued}
