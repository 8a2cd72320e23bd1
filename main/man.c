/* SPDX-License-Identifier: GPL-2.0-or-later */
/* man - the manual page of rhea and completions for bash, out of the tables of options */
#include <stdio.h>

#include "base/alloc.h"
#include "main/options.h"

/* --- manual page --- */

/* Roman text; a dot or quote at the start of a line would be a request. */
static void man_text(const char *s)
{
    bool start = true;

    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\''))
            printf("\\&");
        start = *s == '\n';
        if (*s == '\\')
            printf("\\e");
        else if (*s == '-')
            printf("\\-");
        else
            putchar(*s);
        if (strchr(",|]:", *s) && s[1] > ' ')
            printf("\\:"); /* a line may end here */
        if (start)
            printf(".br\n");
    }
}

static void man_heading(const char *text)
{
    printf(".SS %s\n", text);
}

static void man_name(const Option *o)
{
    printf(".TP\n\\fB\\-");
    man_text(o->name);
    if (o->alias) {
        printf("\\fR, \\fB\\-");
        man_text(o->alias);
    }
    printf("\\fR");
    if (o->arg) {
        printf(" \\fI");
        man_text(o->arg);
        printf("\\fR");
    }
    printf("\n");
}

static void man_row(const Option *o, void *arg)
{
    (void)arg;
    man_name(o);
    man_text(o->doc);
    printf("\n");
}

static void man_older(const Option *o)
{
    AUTO_FREE char *now = option_modern(o, "arg");

    if (!now || o->doc)
        return;
    man_name(o);
    if (*now)
        printf("\\-");
    man_text(*now ? now : "changes nothing");
    printf("\n");
}

static void man_missing(const Option *o)
{
    if (!o->missing || option_find(o->name) != o)
        return;
    printf(".TP\n\\fB\\-");
    man_text(o->name);
    printf("\\fR\n");
    man_text(o->missing);
    printf("\n");
}

static void each_option(void (*fn)(const Option *o))
{
    for (const OptionTable *t = option_table_next(NULL); t; t = option_table_next(t))
        for (const Option *o = t->rows; o->name; o++)
            fn(o);
}

void options_man(void)
{
    printf(".TH RHEA 1 \"\" \"rhea %s\" \"User Commands\"\n.ad l\n.nh\n.SH NAME\nrhea \\- machine "
           "emulator\n"
           ".SH SYNOPSIS\n.B rhea\n[\\fIoptions\\fR] [\\fIdisk_image\\fR]\n"
           ".SH DESCRIPTION\nRuns a PC for x86\\-64 or i386 guests.  The command line is that of "
           "QEMU 7.2; a dash or two before an option are the same.  Called\n.BR "
           "rhea\\-system\\-i386 ,\nor by a name that ends so, it is a 32\\-bit machine.\n"
           ".SH OPTIONS\n",
           RHEA_VERSION);
    options_each(man_heading, man_row, NULL);
    printf(".SS Older spellings\n");
    each_option(man_older);
    printf(".SS Options of QEMU that are not built\n");
    each_option(man_missing);
    printf(".SH KEYS\nWith\n.B \\-nographic\nor\n.B \\-serial mon:stdio\nCtrl\\-a h lists the "
           "commands: Ctrl\\-a x ends the emulator, Ctrl\\-a c changes between serial port and "
           "monitor.\n"
           ".SH EXIT STATUS\n0 after power\\-off, quit or a help text, 1 after an error before the "
           "machine ran, else what the guest gave to isa\\-debug\\-exit.\n"
           ".SH SEE ALSO\n.BR rhea\\-img (1),\n.BR rhea\\-io (1),\n.BR rhea\\-nbd (1)\n");
}

/* --- completion --- */

/* Names come from the help texts of the program that is being typed, so that they are always its
 * own. */
static const char completion[] =
    "# bash completion for rhea, rhea-img, rhea-io and rhea-nbd\n"
    "_rhea_words() # what fits, of the words given\n"
    "{\n"
    "    COMPREPLY=($(compgen -W \"$*\" -- \"$cur\"))\n"
    "}\n"
    "\n"
    "_rhea_values() # PROGRAM OPTION: what `OPTION help` lists\n"
    "{\n"
    "    case $2 in\n"
    "    -machine | -M | -accel | -display | -vga | -audiodev | -netdev)\n"
    "        \"$1\" $2 help | awk 'NR > 1 { print $1 }' ;;\n"
    "    -cpu) \"$1\" -cpu help | awk '$1 == \"x86\" || $1 == \"i386\" { print $2 }' ;;\n"
    "    -device) \"$1\" -device help | sed -n 's/^name \"\\([^\"]*\\)\".*/\\1/p' ;;\n"
    "    -object | -chardev) \"$1\" $2 help | sed -n 's/^  *\\([a-z][a-z0-9-]*\\).*/\\1/p' ;;\n"
    "    -d) \"$1\" -d help | awk 'NR > 1 && /^[a-z_]+ / { print $1 }' ;;\n"
    "    -trace) \"$1\" -trace help ;;\n"
    "    esac 2>/dev/null\n"
    "}\n"
    "\n"
    "_rhea()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} values\n"
    "    prev=${prev/#--/-}\n"
    "    values=$(_rhea_values \"$1\" \"$prev\")\n"
    "    if [[ -n $values ]]; then\n"
    "        _rhea_words $values\n"
    "    elif [[ $cur == --* ]]; then\n"
    "        _rhea_words $(\"$1\" -help | sed -n 's/^-\\([A-Za-z0-9_-]*\\).*/--\\1/p')\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        _rhea_words $(\"$1\" -help | sed -n 's/^\\(-[A-Za-z0-9_-]*\\).*/\\1/p')\n"
    "    else\n"
    "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
    "    fi\n"
    "}\n"
    "\n"
    "_rhea_options() # the options in a text\n"
    "{\n"
    "    grep -oE -- '(^|[][ ,|(])--?[A-Za-z][A-Za-z-]*' | grep -oE -- '-.*' | sort -u\n"
    "}\n"
    "\n"
    "_rhea_tool()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} help\n"
    "    help=$(\"$1\" --help)\n"
    "    if [[ $1 == *-img && $COMP_CWORD == 1 && $cur != -* ]]; then\n"
    "        _rhea_words $(sed -n '/^Commands:/,/^Parameters:/s/^  \\([a-z]*\\) .*/\\1/p' "
    "<<<\"$help\")\n"
    "    elif [[ $1 == *-img && $COMP_CWORD != 1 && $cur == -* ]]; then\n"
    "        _rhea_words $(sed -n \"/^Commands:/,/^Parameters:/s/^  $command //p\" <<<\"$help\" | "
    "_rhea_options)\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        _rhea_words $(_rhea_options <<<\"$help\")\n"
    "    else\n"
    "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -o filenames -F _rhea rhea rhea-system-x86_64 rhea-system-i386\n"
    "complete -o filenames -F _rhea_tool rhea-img rhea-io rhea-nbd\n";

void options_completion(void)
{
    fputs(completion, stdout);
}
