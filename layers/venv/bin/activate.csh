# For csh and tcsh: `source activate.csh`. `deactivate` undoes it.

# `&&`, since csh expands the whole of a line's command before it looks at an `if`.
alias deactivate 'test $?_OLD_VIRTUAL_PATH = 1 && setenv PATH "$_OLD_VIRTUAL_PATH:q" && unset _OLD_VIRTUAL_PATH; test $?_OLD_VIRTUAL_PROMPT = 1 && set prompt="$_OLD_VIRTUAL_PROMPT:q" && unset _OLD_VIRTUAL_PROMPT; unsetenv VIRTUAL_ENV VIRTUAL_ENV_PROMPT; rehash; test "\!:*" = "again" || unalias deactivate'

deactivate again

setenv VIRTUAL_ENV @PREFIX@
setenv VIRTUAL_ENV_PROMPT @NAME@

set _OLD_VIRTUAL_PATH="$PATH"
setenv PATH "${VIRTUAL_ENV}/bin:${PATH}"

if (! $?VIRTUAL_ENV_DISABLE_PROMPT && $?prompt) then
    set _OLD_VIRTUAL_PROMPT="$prompt:q"
    set prompt = "($VIRTUAL_ENV_PROMPT) $prompt:q"
endif

rehash
