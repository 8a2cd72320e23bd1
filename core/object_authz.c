/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object_authz - -object authz-simple, authz-list: who may use a service, by his identity */
#include <fnmatch.h>

#include "base/alloc.h"
#include "core/object.h"
#include "io/secret.h"

enum { RULES_MAX = 1024 };
static const char *const policy_names[] = {"deny", "allow", NULL};
static ENUM_TYPE(policy_type, QAuthZListPolicy, policy_names);
static const char *const format_names[] = {"exact", "glob", NULL};
static ENUM_TYPE(format_type, QAuthZListFormat, format_names);

typedef struct Rule {
    char *match;
    uint32_t policy, format;
} Rule;

typedef struct Authz {
    Object obj;
    char *identity;  /* authz-simple */
    uint32_t policy; /* authz-list: when no rule matches */
    Rule *rules;
    unsigned n;
} Authz;

static const Field rule_fields[] = {
    {.name = "match",
     .type = &type_str,
     .doc = "identity",
     .at = offsetof(Rule, match),
     .count = 1,
     .use = FIELD_PROP,
     .flags = FIELD_REQUIRED},
    PROP_ENUM(Rule, policy, "policy", &policy_type, 0, "deny or allow"),
    PROP_ENUM(Rule, format, "format", &format_type, 0, "exact or glob"),
};
static STRUCT_TYPE(rule_type, Rule, rule_fields);

/* rules: a list of {match, policy, format} */
static bool authz_set(Object *o, const char *name, const json_t *value, Error *err)
{
    Authz *a = (Authz *)o;
    json_t *rule;
    size_t i;

    if (strcmp(name, "rules"))
        return false;
    if (!json_is_array(value) || json_array_size(value) > RULES_MAX)
        return error_set(err, "'rules' is a list of at most %d rules", RULES_MAX);
    a->rules = xnew_n(Rule, MAX(json_array_size(value), (size_t)1));
    json_array_foreach (value, i, rule) {
        a->n++;
        if (!reflect_from_json(&rule_type, &a->rules[i], rule, FIELD_PROP, err))
            return error_prefix(err, "rules.%zu: ", i);
    }
    return true;
}

static bool simple_complete(Object *o, Error *err)
{
    return ((Authz *)o)->identity || error_set(err, "Parameter 'identity' is missing");
}

static void authz_free(Object *o)
{
    Authz *a = (Authz *)o;

    for (unsigned i = 0; i < a->n; i++)
        reflect_free(&rule_type, &a->rules[i]);
    xfree(a->rules);
}

static const Field simple_fields[] = {
    PROP_STR(Authz, identity, "identity", NULL, "the one who is admitted")};
static const Field list_fields[] = {
    PROP_ENUM(Authz, policy, "policy", &policy_type, 0, "for those whom no rule matches")};
static STRUCT_TYPE(simple_type, Authz, simple_fields);
static STRUCT_TYPE(list_type, Authz, list_fields);

static ObjectClass simple_class = {
    .name = "authz-simple",
    .parent = "authz",
    .doc = "admits one identity",
    .type = &simple_type,
    .complete = simple_complete,
};
OBJECT_REGISTER(simple_class)

static ObjectClass list_class = {
    .name = "authz-list",
    .parent = "authz",
    .doc = "admits identities by a list of rules",
    .type = &list_type,
    .set = authz_set,
    .free = authz_free,
};
OBJECT_REGISTER(list_class)

static bool rule_matches(const Rule *r, const char *identity)
{
    return r->format ? fnmatch(r->match, identity, 0) == 0 : strcmp(r->match, identity) == 0;
}

bool authz_admits(Objects *set, const char *id, const char *identity, Error *err)
{
    const Authz *a;

    if (!id)
        return true;
    a = (const Authz *)object_find(set, id, "authz", err);
    if (!a || !identity)
        return false;
    if (a->obj.cls == &simple_class)
        return !strcmp(a->identity, identity);
    for (unsigned i = 0; i < a->n; i++)
        if (rule_matches(&a->rules[i], identity))
            return a->rules[i].policy;
    return a->policy;
}
