-- Tells all nodes whose streams end: KEYS[1] the revocations.
-- ARGV: this node, whose, how many are kept, for how long (ms).
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], '*', 'node', ARGV[1], 'whose', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
