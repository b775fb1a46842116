-- Writes of any number of keys, each by itself and with a verdict of its own:
-- 1: carried out; 0: another revision stands there; -1: no live record does; -2: a live record
-- does; -3: what stands there is no record; or the server's error. Where all were carried out, their
-- number is the answer, else a list of the verdicts.
--
-- Arguments: the place of the order with the earliest DEADLINE, or 0 if none has one; then two for
-- each write: its order, and the new value (with a guess at its deadline). Orders:
-- s1:REVISION:DEADLINE    update what has this revision; the deadline, a guess, stays where it is
-- s1:REVISION:DEADLINE:   the same; the new value is, by another guess, as long as the old one
-- update LIFE HEAD        update, and set the deadline so many milliseconds (15 digits) from now
-- rotate LIFE HEAD        move to the second key; without LIFE, the deadline stays
-- create LIFE | touch LIFE | destroy | destroy HEAD
-- HEAD is s1:REVISION: as it must stand there. A rotation comes alone.
--
-- `pcall`, so that one write's error leaves the others alone. (Before Redis 7.0 it may begin with its
-- place in this script; failure.rs takes that away.) Offsets stand in quotes because Redis is slow at
-- writing numbers out.
local pcall = redis.pcall

-- Does any order. It is made when it is needed, which takes as long as a short write.
local function long_way()
  local time = pcall('TIME')
  if time.err then return function() return time end end
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local now_digits = string.format('%015.0f', now)
  local sub = string.sub

  -- A deadline as it stands in a value, and as the key's expiry: one less, because Redis keeps a key
  -- through the whole millisecond of that. Those of one call are mostly the same.
  local last, digits, expiry
  local function prepare(deadline)
    if deadline ~= last then
      last, digits = deadline, string.format('%015.0f', deadline)
      expiry = string.format('%.0f', math.max(deadline - 1, now + 1))
    end
  end

  -- With the prepared deadline. To put the value together here and write it once takes longer.
  local function set(key, value, ...)
    local reply = pcall('SET', key, value, 'PXAT', expiry, ...)
    if not reply then return -2 end
    if reply.err then return reply end
    if sub(value, 21, 35) ~= digits then
      reply = pcall('SETRANGE', key, '20', digits)
      -- After the write before it, only the ACL can refuse this. What is new is taken back.
      if type(reply) == 'table' then
        if ... then pcall('DEL', key) end
        return reply
      end
    end
    return 1
  end

  return function(key, order, value)
    if order == 'destroy' then return pcall('DEL', key) end
    local verb, life, expected = string.match(order, '^(%l+) ?(%d*) ?(.*)$')
    if sub(order, 1, 3) == 's1:' then verb, life, expected = 'update', '', sub(order, 1, 20) end
    if life ~= '' then prepare(now + life) end
    if verb == 'create' then
      local verdict = set(key, value, 'NX')
      if verdict ~= -2 then return verdict end
    end

    local found = pcall('GETRANGE', key, '0', '34')
    -- Digits of one number compare as the numbers do.
    local ends = type(found) == 'string' and #found == 35 and string.match(found, '^%d+$', 21)
    if verb == 'create' then
      -- A dead record may stand there whose expiry somebody took away.
      if not ends or ends > now_digits or sub(found, 1, 3) ~= 's1:' then return -2 end
      return set(key, value)
    end
    if type(found) == 'table' then return found end
    if found == '' then return -1 end
    local head = sub(found, 1, 20)
    if not ends or head ~= expected and sub(head, 1, 3) ~= 's1:' then return -3 end
    if ends <= now_digits then return -1 end

    if verb == 'touch' then
      local reply = pcall('SETRANGE', key, '20', digits)
      if type(reply) == 'table' then return reply end
      return pcall('PEXPIREAT', key, expiry)
    end
    if head ~= expected then
      -- A repeated update has been carried out already.
      return verb == 'update' and head == sub(value, 1, 20) and 1 or 0
    end
    if verb == 'destroy' then return pcall('DEL', key) end
    if life == '' then prepare(tonumber(ends)) end
    if verb == 'rotate' then
      -- The new key first, because that is what may be refused.
      local verdict = set(KEYS[2], value, 'NX')
      return verdict == 1 and pcall('DEL', key) or verdict
    end
    return set(key, value)
  end
end

-- The short way is for the first two orders, where the guesses are right. Of these, the key that ends
-- first is there, and its expiry is as guessed: so it lives, and so do all that end later, whatever
-- somebody did to their expiries. One question does instead of one for each, which would take 5 % of
-- the throughput. (Redis 6.2 does not know it and goes the long way.)
local keys, arguments = KEYS, ARGV
local first = arguments[1] + 0
local expires = first > 0 and pcall('PEXPIRETIME', keys[first])
local short = type(expires) == 'number' and expires == string.sub(arguments[2 * first], 21, 35) - 1
local write
local count = (#arguments - 1) / 2
local verdicts -- from the first on that was not carried out
for i = 1, count do
  local key, order, value = keys[i], arguments[2 * i], arguments[2 * i + 1]
  local verdict = 1
  -- Only these two are so long.
  local to = short and (#order == 36 and '35' or #order == 35 and '34')
  if to and pcall('GETRANGE', key, '0', to) == order then
    -- In place costs a tenth less. Had the old value been longer, its end would be left: then all is
    -- written once more, which only the ACL can refuse.
    if to == '34' or pcall('SETRANGE', key, '0', value) ~= #value then
      local reply = pcall('SET', key, value, 'KEEPTTL')
      if reply.err then verdict = reply end
    end
  else
    write = write or long_way()
    verdict = write(key, order, value)
  end
  if verdict ~= 1 and not verdicts then
    verdicts = {}
    for earlier = 1, i - 1 do verdicts[earlier] = 1 end
  end
  if verdicts then verdicts[i] = verdict end
end
return verdicts or count
