/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_audio - -audiodev: back ends of sound devices; only `none`, which plays to nobody, is
 * built */
#include <stdio.h>

#include "base/opts_json.h"
#include "main/options.h"

static bool driver_is_known(const char *name)
{
    static const char *const missing[] = {"alsa", "coreaudio", "dbus", "dsound", "jack",  "oss",
                                          "pa",   "pipewire",  "sdl",  "sndio",  "spice", "wav"};

    for (unsigned i = 0; i < COUNT_OF(missing); i++)
        if (!strcmp(name, missing[i]))
            return true;
    return false;
}

static bool check_audiodev(const json_t *j, Error *err)
{
    const char *driver = json_string_value(json_object_get(j, "driver"));
    const char *id = json_string_value(json_object_get(j, "id"));
    static const char *const known[] = {"driver", "id", "timer-period", "in", "out"};
    json_t *value;
    const char *key;

    if (!driver)
        return error_set(err, "Parameter 'driver' is missing");
    if (strcmp(driver, "none"))
        return driver_is_known(driver)
                   ? error_set(err, "the sound driver '%s' is not built yet ('none' is)", driver)
                   : value_refused("driver", driver, err);
    if (!id)
        return error_set(err, "Parameter 'id' is missing");
    json_object_foreach ((json_t *)j, key, value) {
        unsigned i = 0;

        while (i < COUNT_OF(known) && strcmp(known[i], key))
            i++;
        if (i == COUNT_OF(known))
            return error_set(err, "Parameter '%s' is unexpected", key);
    }
    return true;
}

OPT(opt_audiodev)
{
    bool ok, help = false;
    json_t *j;

    if (is_help(arg)) {
        printf("Available audio drivers:\nnone\n");
        c->done = true;
        return true;
    }
    j = opts_json_parse(arg, "driver", 0, &help, err);
    ok = j && check_audiodev(j, err);
    json_decref(j);
    return ok;
}

static const Option rows[] = {
    {.name = "audiodev",
     .arg = "[driver=]none,id=id[,prop[=value][,...]]",
     .doc = "where sound goes; no device makes sound yet, and 'none' is the one driver",
     .apply = opt_audiodev},
    {0},
};
OPTIONS_REGISTER(audio, 45, "Sound options", rows)
