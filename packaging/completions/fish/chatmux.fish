# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_chatmux_global_optspecs
    string join \n h/help V/version
end

function __fish_chatmux_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_chatmux_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_chatmux_using_subcommand
    set -l cmd (__fish_chatmux_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c chatmux -n "__fish_chatmux_needs_command" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_needs_command" -s V -l version -d 'Print version'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "run" -d 'Run the proxy'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "demo" -d 'Show everything in one process: scripted backends, the proxy in front, the merged stream'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "check" -d 'Check a conf file: all errors at once'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "normalize" -d 'Turn a captured upstream stream into the unified one'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "tail" -d 'Print the events of any stream, with reconnect'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "selftest" -d 'Find out whether something between here and a stream buffers, compresses or cuts it'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "key" -d 'Make an API key, or list those of a conf file'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "schema" -d 'Print a contract that is made of the code'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "completions" -d 'Print what makes a shell complete chatmux\'s commands'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "man" -d 'Print a manual page'
complete -c chatmux -n "__fish_chatmux_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c chatmux -n "__fish_chatmux_using_subcommand run" -s c -l conf -d 'The conf file' -r -F
complete -c chatmux -n "__fish_chatmux_using_subcommand run" -l pid-file -d 'Where a background process writes its id' -r -F
complete -c chatmux -n "__fish_chatmux_using_subcommand run" -s u -l upgrade -d 'Take the listeners over from a running process'
complete -c chatmux -n "__fish_chatmux_using_subcommand run" -s d -l daemon -d 'Go to the background'
complete -c chatmux -n "__fish_chatmux_using_subcommand run" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand demo" -l seconds -d 'End after so many seconds; without it, Ctrl-C ends' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand demo" -l port -d 'The port of the stream, or of the first backend; 0 = a free one' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand demo" -l backends-only -d 'Only the backends, without the proxy: prints the sources for a conf file of yours'
complete -c chatmux -n "__fish_chatmux_using_subcommand demo" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand check" -s c -l conf -d 'The conf file' -r -F
complete -c chatmux -n "__fish_chatmux_using_subcommand check" -l format -d 'For people, or for pipelines' -r -f -a "text\t''
json\t''"
complete -c chatmux -n "__fish_chatmux_using_subcommand check" -l strict -d 'Warnings are errors'
complete -c chatmux -n "__fish_chatmux_using_subcommand check" -l online -d 'Try each source and key set, too: name, connection, certificate, answer, clock'
complete -c chatmux -n "__fish_chatmux_using_subcommand check" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l backend -d 'The dialect: openfire, xians, salesforce, brightpattern' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l participant -d 'The participant whose stream it was' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l tenant -d 'The tenant' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l workflow -d 'The workflow' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l conversation -d 'The conversation, where the source names one (Salesforce)' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l chat -d 'The chat\'s id (Bright Pattern)' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l scope -d 'The scope that passes' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l types -d 'The message types that pass, a comma list' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l vocabulary -d 'The names that clients know' -r -f -a "full\t''
core\t''"
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l unmapped -d 'What becomes of frames whose name is not in the dialect\'s table' -r -f -a "raw\t''
drop\t''"
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l malformed -d 'What becomes of broken frames' -r -f -a "raw\t''
drop\t''"
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l explain -d 'Say of each frame, on standard error, what became of it'
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -l deterministic -d 'The same output at every run: minted ids m1, m2..., epoch 0, arrival in 1970'
complete -c chatmux -n "__fish_chatmux_using_subcommand normalize" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand tail" -s H -l header -d 'A header to send along; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand tail" -l once -d 'Do not come back when the stream ends'
complete -c chatmux -n "__fish_chatmux_using_subcommand tail" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand selftest" -s H -l header -d 'A header to send along; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand selftest" -l idle -d 'The longest silence to try, in seconds' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand selftest" -l format -d 'How to print what was found' -r -f -a "text\t''
json\t''"
complete -c chatmux -n "__fish_chatmux_using_subcommand selftest" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -l label -d 'The key\'s name in logs' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -l tenant -d 'A tenant that it opens; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -l workflow -d 'A workflow that it opens, or an expression over all of one; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -l participant -d 'A participant that it opens; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -l expires -d 'From then on it is refused: 2027-01-01, or 2027-01-01T12:00:00Z' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -f -a "new" -d 'Make a key: prints it once, and the conf entry with its digest'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -f -a "list" -d 'List the keys of a conf file: labels, starts of digests, scopes, ends'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and not __fish_seen_subcommand_from new list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from new" -l label -d 'The key\'s name in logs' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from new" -l tenant -d 'A tenant that it opens; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from new" -l workflow -d 'A workflow that it opens, or an expression over all of one; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from new" -l participant -d 'A participant that it opens; may be given several times' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from new" -l expires -d 'From then on it is refused: 2027-01-01, or 2027-01-01T12:00:00Z' -r
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from list" -s c -l conf -d 'The conf file' -r -F
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from list" -l format -d 'For people, or for pipelines' -r -f -a "text\t''
json\t''"
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "new" -d 'Make a key: prints it once, and the conf entry with its digest'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the keys of a conf file: labels, starts of digests, scopes, ends'
complete -c chatmux -n "__fish_chatmux_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c chatmux -n "__fish_chatmux_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chatmux -n "__fish_chatmux_using_subcommand completions" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand man" -s h -l help -d 'Print help'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "run" -d 'Run the proxy'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "demo" -d 'Show everything in one process: scripted backends, the proxy in front, the merged stream'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "check" -d 'Check a conf file: all errors at once'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "normalize" -d 'Turn a captured upstream stream into the unified one'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "tail" -d 'Print the events of any stream, with reconnect'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "selftest" -d 'Find out whether something between here and a stream buffers, compresses or cuts it'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "key" -d 'Make an API key, or list those of a conf file'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "schema" -d 'Print a contract that is made of the code'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "completions" -d 'Print what makes a shell complete chatmux\'s commands'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "man" -d 'Print a manual page'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and not __fish_seen_subcommand_from run demo check normalize tail selftest key schema completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "new" -d 'Make a key: prints it once, and the conf entry with its digest'
complete -c chatmux -n "__fish_chatmux_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "list" -d 'List the keys of a conf file: labels, starts of digests, scopes, ends'
