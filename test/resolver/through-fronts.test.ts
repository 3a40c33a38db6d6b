/** The tests of the service and of the whole once more: a client cannot tell a front from the core. */
import { testDefaults } from '../support/resolver.ts';

testDefaults.fronts = 1;
await import('./service.test.ts');
await import('./main.test.ts');
